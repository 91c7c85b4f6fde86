"""Which tasks of a data set should share a network, in one call."""

from mtl_gym.recommend.recommendation import Recommendation
from mtl_gym.recommend.searching import recommend_groups

__all__ = ["Recommendation", "recommend_groups"]

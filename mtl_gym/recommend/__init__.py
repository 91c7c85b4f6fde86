"""Groups of tasks that should share a network, found in one call."""

from mtl_gym.recommend.recommendation import Recommendation
from mtl_gym.recommend.searching import recommend_groups

__all__ = ["Recommendation", "recommend_groups"]

"""Policies of sb3-contrib's RecurrentPPO for observations and actions that its own fail on."""

from __future__ import annotations

from gymnasium.spaces import MultiBinary
from sb3_contrib.common.recurrent import policies
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor


class MlpLstmPolicy(policies.RecurrentActorCriticPolicy):
    """Policy whose LSTM has an int as its width, and which scores binary actions as floats.

    SB3 adds up the widths of a `Dict` with `MultiDiscrete` parts to a `numpy.int64`, which `torch.nn.LSTM` refuses; and
    sb3-contrib's buffer returns binary actions as int8, whose probability `Bernoulli` cannot compute.
    """

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Return the extractor of features, with its width as an int."""
        extractor = super().make_features_extractor()
        extractor._features_dim = int(extractor.features_dim)
        return extractor

    def evaluate_actions(  # type: ignore[override]  # as that of sb3-contrib
        self, obs: Tensor, actions: Tensor, lstm_states: RNNStates, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, logarithms of the probabilities of actions, and entropies; float32 [n] each."""
        if isinstance(self.action_space, MultiBinary):
            actions = actions.float()
        return super().evaluate_actions(obs, actions, lstm_states, episode_starts)


class MultiInputLstmPolicy(MlpLstmPolicy, policies.RecurrentMultiInputActorCriticPolicy):
    """`MlpLstmPolicy` for `Dict` observations."""

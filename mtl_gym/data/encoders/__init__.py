"""Encoders of images and texts: fitted without labels, or trained and stored."""

from mtl_gym.data.encoders.components import principal_components
from mtl_gym.data.encoders.convnet import ConvEncoder, read_encoder, write_encoder
from mtl_gym.data.encoders.lsa import LatentSemantics, fit_lsa
from mtl_gym.data.encoders.naming import FittedEncoder, encoder_of
from mtl_gym.data.encoders.patches import PatchEncoder, fit_patches

__all__ = [
    "ConvEncoder",
    "FittedEncoder",
    "LatentSemantics",
    "PatchEncoder",
    "encoder_of",
    "fit_lsa",
    "fit_patches",
    "principal_components",
    "read_encoder",
    "write_encoder",
]

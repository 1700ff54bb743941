"""Torch modules: analysis network, synthesis network, blur-size classifier, and their presets."""

"""Physics of blur: kernels, forward model, classical deconvolution; imports no other layer."""

"""What users run on a GPU, run on fake tensors of device `cuda:0`: no values, no kernels, no GPU."""

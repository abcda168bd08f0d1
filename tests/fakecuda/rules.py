"""What an operator may not do on a GPU, in tables: have the host wait, add up in random order, use float32."""

# (file, function) where the host waits for the device on purpose -> why
WAITS_OF_UNFUSED = {  # optimizers, which can't skip a step by themselves; for any other a training step doesn't wait
    ("engine/training/step.py", "step_if_finite"): "the host decides",
    ("engine/training/step.py", "train_step"): "PyTorch's GradScaler decides, on the host too",
}
WAITS_OF_PREDICTION = {
    ("engine/inference/batch.py", "BatchPredictor.__call__"): "scores that aren't finite are an error",
    ("engine/evaluation/scoring.py", "evaluate"): "labels go into files and trimaps on the CPU",
    ("engine/evaluation/scoring.py", "_count"): "confusion matrices are summed up on the CPU",
    ("engine/evaluation/scoring.py", "_log_likelihoods"): "and so are losses",
    ("utils/metrics/confusion.py", "_count_on_device"): "a label out of range is an error",
}

# in training in half precision: (file, function) that makes maps of float32 -> why
FLOAT32 = {
    ("utils/resizing.py", "resize"): "losses enlarge scores in float32",
    ("network/parts/alignment.py", "warp"): "half precision can't tell neighbouring grid points apart",
}
# rooms that work in float32: losses sum over a million pixels, augmentation comes before autocast, weights stay precise
PRODUCTS_IN_FLOAT32 = ("loss/", "transforms/")
MAPS_IN_FLOAT32 = (*PRODUCTS_IN_FLOAT32, "engine/", "optimizer/")

# without a deterministic form on CUDA: `torch.use_deterministic_algorithms` of PyTorch 2.13 lists them by their modules
NOT_DETERMINISTIC = {
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "_ctc_loss_backward",
    "_embedding_bag_dense_backward",
    "_upsample_bicubic2d_aa_backward",
    "_upsample_bilinear2d_aa_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "cudnn_grid_sampler_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "kthvalue",
    "max_unpool2d",
    "max_unpool3d",
    "median",
    "nll_loss2d_backward",
    "nll_loss2d_forward",
    "put_",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "replication_pad1d_backward",
    "replication_pad2d_backward",
    "replication_pad3d_backward",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}
PRODUCTS = {"convolution", "convolution_backward", "mm", "bmm", "addmm", "baddbmm"}  # for which tensor cores are made

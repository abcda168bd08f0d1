"""Numbers that several rooms share."""

IGNORE_LABEL = 255  # of pixels that are neither trained on nor scored

# of RGB images in [0, 1]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

"""A user's own folder of images and masks: what its `classes.json` says, and what that means for the files."""

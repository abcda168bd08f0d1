"""The faults: a text that stands exactly once in a file, what replaces it, and the tests that have to fail then."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One mistake that somebody could make."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


TRAINING = "tests/test_train.py"
FAULTS = (
    Fault(
        "a resumed run draws other dropouts",
        "engine/training/learner.py",
        "        seed_step(self.seed, step, self.process.rank)\n",
        "",
        (f"{TRAINING}::test_interrupted_run_ends_in_the_same_weights",),
    ),
    Fault(
        "the sampler is shifted by one batch after a resume",
        "datasets/sampling/sampler.py",
        "for step in range(self.start, self.end):",
        "for step in range(max(0, self.start - 1), self.end):",
        ("tests/datasets/test_sampler.py",),
    ),
    Fault(
        "with several processes the last images aren't scored",
        "datasets/sampling/sampler.py",
        "list(range(rank, n, world_size))",
        "list(range(rank, n - n % world_size, world_size))",
        ("tests/datasets/test_sampler.py",),
    ),
    Fault(
        "the tensors' checksums are skipped",
        "engine/checkpoint/digests.py",
        "if tensor_sha256(tensor) != expected[name]:",
        "if name not in expected:",
        ("tests/engine/test_checkpoint.py::test_every_flipped_byte_in_a_tensor_is_found",),
    ),
    Fault(
        "the file's checksum is skipped",
        "engine/checkpoint/archive.py",
        "if COMMENT + digest.hexdigest().encode() != comment:",
        "if len(comment) != len(COMMENT) + 64:",
        ("tests/engine/test_checkpoint.py::test_every_flipped_bit_and_zeroed_block_is_found",),
    ),
    Fault(
        "a snapshot's fields are not checked",
        "engine/checkpoint/snapshot.py",
        "        check_fields(content, path)\n",
        "",
        ("tests/engine/test_snapshot_fields.py",),
    ),
    Fault(
        "files may hold code",
        "engine/checkpoint/archive.py",
        'map_location="cpu", weights_only=True)',
        'map_location="cpu", weights_only=False)',
        ("tests/engine/test_checkpoint.py::test_nothing_is_executed", "tests/test_security.py"),
    ),
    Fault(
        "pixels are counted in single precision",
        "utils/metrics/confusion.py",
        "    table = np.zeros((256, 256), np.int64)\n",
        "    table = np.zeros((256, 256), np.float32)\n",
        ("tests/utils/test_metrics.py",),
    ),
    Fault(
        "void pixels count as class 0",
        "datasets/base.py",
        "            table[label_id] = train_id\n",
        "            table[label_id] = train_id % IGNORE_LABEL\n",
        ("tests/datasets/test_folder.py", "tests/datasets/test_camvid.py"),
    ),
    Fault(
        "padding counts as class 0",
        "transforms/geometry.py",
        "scaled, window), source, IGNORE_LABEL)",
        "scaled, window), source, 0)",
        ("tests/transforms",),
    ),
    Fault(
        "labels are interpolated",
        "transforms/geometry.py",
        '_pad(nearest_window(sample["label"]',
        '_pad(resize_window(sample["label"]',
        ("tests/transforms",),
    ),
    Fault(
        "the image is mirrored and its label isn't",
        "transforms/geometry.py",
        "image, label = cv2.flip(image, 1), cv2.flip(label, 1)",
        "image = cv2.flip(image, 1)",
        ("tests/transforms",),
    ),
    Fault(
        "the learning rate is one step ahead",
        "optimizer/schedule.py",
        "(step / total_steps, self",
        "((step + 1) / total_steps, self",
        ("tests/optimizer/test_schedule.py",),
    ),
    Fault(
        "the weight average isn't saved",
        "engine/training/learner.py",
        '            "average": self.average.state_dict() if self.average else None,\n',
        '            "average": None,\n',
        (f"{TRAINING}::test_interrupted_run_ends_in_the_same_weights",),
    ),
    Fault(
        "a step whose gradient isn't finite is made",
        "engine/training/step.py",
        "(~wanted).float()",
        "torch.zeros(())",
        ("tests/test_numerics.py::test_nothing_changes_when_something_is_not_finite",),
    ),
    Fault(
        "a step that was left out moves the weight average",
        "optimizer/averaging.py",
        "torch.where(applied, 1 - decay, 0.0)",
        "(1 - decay)",
        ("tests/optimizer/test_averaging.py",),
    ),
    Fault(
        "SGD's momentum is made in its first step, which may be left out",
        "optimizer/sgd.py",
        "    _fill_momentum(optimizer)\n",
        "",
        ("tests/test_numerics.py",),
    ),
    Fault(
        "the last step of an epoch is never looked at",
        "engine/training/trainer.py",
        "        self.figures.flush_metrics()\n        return True",
        "        return True",
        ("tests/test_numerics.py",),
    ),
    Fault(
        "a coarse level is enlarged beyond the convolution's padding",
        "network/parts/pyramid_conv.py",
        "weights * inside",
        "weights",
        ("tests/network/test_pyramid_conv.py",),
    ),
    Fault(
        "a run's folder isn't locked",
        "engine/training/lock.py",
        "            self._lock.acquire()\n",
        "            pass\n",
        ("tests/engine/test_lock.py",),
    ),
    Fault(
        "cached class centroids of other data are taken",
        "utils/array_file.py",
        "            if bytes(file[HEADER]) != _encode(header):\n                return None\n",
        "",
        ("tests/datasets/test_uniform.py",),
    ),
    Fault(
        "files that were rewritten count as unchanged",
        "datasets/index_file.py",
        " & (self.stats[rows] == stats).all((1, 2))",
        "",
        ("tests/datasets/test_index.py",),
    ),
    Fault(
        "predictions are written as train ids",
        "engine/evaluation/prediction_files.py",
        "self.split.classes.to_label_ids(labels)",
        "labels",
        ("tests/engine/test_prediction_files.py",),
    ),
    Fault(
        "results of an image whose files were changed are used",
        "engine/evaluation/journal.py",
        "result if self._fingerprint(fields) == expected else None",
        "result",
        ("tests/engine/test_journal.py",),
    ),
    Fault(
        "a mistake of ours ends in a traceback",
        "utils/cli.py",
        "    except Exception as error:\n",
        "    except FENetError as error:\n",
        ("tests/utils/test_cli.py",),
    ),
)

"""Images augmented per second, stage by stage: `python -m benchmarks.perf.time_augmentation`.

Two sets of twelve 128×128 images at the default chances, one thread, CPU time of the process. The last row makes the
intensity changes of both levels at the same chances with kornia's `VideoSequential`, which draws as its modules do.
"""

import time
from collections.abc import Callable

import torch
from einops import rearrange
from kornia import augmentation as K
from torch import Tensor

from incontext.training.augment import (
    BLUR_PX,
    BLUR_STD_PX,
    BRIGHTNESS,
    CONTRAST,
    DEFAULT,
    GAMMA,
    NOISE_STD,
    SHARPNESS,
    ImageChances,
    TaskChances,
    augment,
    vary_intensities,
    vary_labels,
    warp,
)

SETS, COUNT, SIZE_PX = 2, 12, 128
RUNS = 100


def draw_sets() -> tuple[Tensor, Tensor]:
    """Draw sets of noise images, with labels that are squares off the centre."""
    images = torch.rand(SETS, COUNT, 1, SIZE_PX, SIZE_PX)
    labels = torch.zeros_like(images)
    labels[..., SIZE_PX // 4 : SIZE_PX // 2, SIZE_PX // 4 : SIZE_PX // 2] = 1
    return images, labels


def kornia_intensities(chances: TaskChances | ImageChances) -> K.VideoSequential:
    """Build kornia's equivalent of the intensity changes of one augmentation level."""
    low, high = BRIGHTNESS
    return K.VideoSequential(
        K.RandomBrightness((1 + low, 1 + high), p=chances.brightness),
        K.RandomContrast(CONTRAST, p=chances.contrast),
        K.RandomGamma(GAMMA, p=chances.gamma),
        K.RandomGaussianBlur((BLUR_PX, BLUR_PX), BLUR_STD_PX, p=chances.blur),
        K.RandomSharpness(SHARPNESS[1], p=chances.sharpness),
        K.RandomGaussianNoise(0.0, sum(NOISE_STD) / 2, p=chances.noise),
        data_format="BTCHW",
        same_on_frame=True,
    )


def images_per_second(stage: Callable[[], object]) -> float:
    """Images per CPU second of a stage that augments all images once."""
    stage()
    start = time.process_time()
    for _ in range(RUNS):
        stage()
    return RUNS * SETS * COUNT / (time.process_time() - start)


def main() -> None:
    """Measure every stage and print a line for each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = draw_sets()
    frames = images[:, :, 0]
    singles = rearrange(frames, "B n H W -> (B n) 1 H W")
    of_task, of_image = kornia_intensities(DEFAULT.task), kornia_intensities(DEFAULT.image)
    stages: dict[str, Callable[[], object]] = {
        "warp": lambda: warp(images, labels, DEFAULT),
        "intensities, task": lambda: vary_intensities(frames, DEFAULT.task),
        "intensities, in-task": lambda: vary_intensities(singles, DEFAULT.image),
        "labels": lambda: vary_labels(labels, DEFAULT.task),
        "all": lambda: augment(images, labels),
        "intensities, both": lambda: vary_intensities(
            rearrange(vary_intensities(frames, DEFAULT.task), "B n H W -> (B n) 1 H W"), DEFAULT.image
        ),
        "the same by kornia": lambda: of_image(rearrange(of_task(images), "B n one H W -> (B n) 1 one H W")),
    }
    for name, stage in stages.items():
        print(f"{name:<22}{images_per_second(stage):>8.0f} images/s", flush=True)


if __name__ == "__main__":
    main()

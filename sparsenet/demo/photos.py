"""Photos that scikit-image ships, as ImageNet networks want them, and names for the classes in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import skimage.data
import skimage.transform

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def photo(name: str) -> npt.NDArray[np.float32]:
    """[1, 3, 224, 224]: the shorter side to 256, the centre 224x224, ImageNet's mean and deviation taken out."""
    image = getattr(skimage.data, name)()
    height, width = image.shape[:2]
    scale = 256 / min(height, width)
    size = (round(height * scale), round(width * scale))
    image = skimage.transform.resize(image, size, anti_aliasing=True)  # type: ignore[no-untyped-call]  # to [0, 1]
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    image = (image[top : top + 224, left : left + 224].astype(np.float32) - _MEAN) / _DEVIATION
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


# ImageNet's class names for what the photos above may be taken for; no package of the demo ships the whole list.
_NAMES = {
    281: "tabby",
    282: "tiger cat",
    285: "Egyptian cat",
    287: "lynx",
    450: "bobsled",
    504: "coffee mug",
    521: "Crock Pot",
    540: "drilling platform",
    541: "drum",
    610: "jersey",
    657: "missile",
    682: "obelisk",
    744: "projectile",
    809: "soup bowl",
    812: "space shuttle",
    823: "stethoscope",
    862: "torch",
    925: "consomme",
    967: "espresso",
    968: "cup",
}


def class_name(index: int) -> str:
    """ImageNet's name of class ``index`` (0 to 999), or "class 123" where the table above has none."""
    return _NAMES.get(index, f"class {index}")

"""Sets of the later lots that are drawn from data: circuit boards' footprints, molecules, bar codes and sounds."""

import re
import struct
import wave
from collections import Counter
from collections.abc import Iterator
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy.signal import resample_poly

from benchmarks.zoo.drawing import RESVG, Variety, draw_svg, ink, place, to_bytes
from benchmarks.zoo.packages import files_of, import_from, package
from benchmarks.zoo.sets import Sample, ZooSet, thin

LIBRARIES = """
    Package_SO Package_DFN_QFN Package_DIP Package_BGA Package_QFP Package_TO_SOT_SMD Package_TO_SOT_THT Package_CSP
    Connector_FFC-FPC Connector_JST Connector_IDC Connector_Audio Connector_Wire Inductor_SMD Inductor_THT Capacitor_THT
    Crystal Button_Switch_SMD Relay_THT Converter_DCDC
"""
PAD = re.compile(r'\(pad\s+"[^"]*"\s+\w+\s+(\w+)\s+\(at ([-\d. ]+)\)\s+\(size ([\d.]+) ([\d.]+)\)')
LINE = re.compile(
    r"\(fp_line\s+\(start ([-\d.]+) ([-\d.]+)\)\s+\(end ([-\d.]+) ([-\d.]+)\)\s+"
    r'\(stroke\s+\(width [\d.]+\)\s+\(type \w+\)\s+\)\s+\(layer "F\.SilkS"\)'
)
MOST_RINGS = 4
CODES = {
    "Codabar": 6, "Code39": 5, "Code93": 6, "Code128": 8, "ITF": 8, "EAN13": 12, "EAN8": 7, "DataBarOmni": 13,
    "PDF417": 20, "MicroPDF417": 20, "AztecCode": 30, "QRCodeModel2": 30, "MicroQRCode": 8, "RMQRCode": 30,
    "DataMatrix": 30, "MaxiCode": 40,
}  # fmt: skip
MODULES = 34  # of a bar code that are shown, at most
LANGUAGES = ("en", "es", "fr", "it", "ru")
WINDOW, HOP = 256, 128  # samples, at 8,000 a second; of instruments, at 11,025
BANDS = 32  # of frequency, and as many windows: half a second
NOTE = re.compile(r"(\w.*?)[ _]?([a-gA-G]#?\d)\s?(\(?[LR]\)?)?")  # how a soundfont names a recorded note
FEWEST_NOTES = 10  # of an instrument
LOUD = 60  # decibels that a picture's grey levels span


def circuit_footprints(rng: np.random.Generator) -> Iterator[Sample]:
    variety = Variety(size=0.9, shift=0.03, noise=15, ink="any")
    for library in LIBRARIES.split():
        files = files_of(KICAD, f"usr/share/kicad/footprints/{library}.pretty/*.kicad_mod")
        for file in sorted(rng.permutation(np.array(files, object)).tolist()[:240]):
            mask = _draw_footprint(file.read_text("utf-8"))
            if mask is None:
                continue
            for _ in range(2):
                group = "_".join(file.stem.split("_")[:3])
                yield ink(place(mask, 40, variety, rng), variety, rng), library, group


def _draw_footprint(text: str) -> Image.Image | None:
    """Pads white and printed lines grey, on black; nothing if it has no pads."""
    pads = [(kind, *map(float, f"{at} 0".split()[:3]), float(x), float(y)) for kind, at, x, y in PAD.findall(text)]
    if not pads:
        return None
    lines = np.array([[float(value) for value in found] for found in LINE.findall(text)]).reshape(-1, 2, 2)
    corners = []
    for _, across, down, turn, width, height in pads:
        box = np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
        angle = radians(-turn)
        corners.append(box @ [[cos(angle), sin(angle)], [-sin(angle), cos(angle)]] + [across, down])
    points = np.concatenate([*corners, *lines])
    low, high = points.min(axis=0), points.max(axis=0)
    factor = 250 / (high - low).max()
    mask = Image.new("L", tuple(np.ceil((high - low) * factor + 6).astype(int).tolist()))
    draw = ImageDraw.Draw(mask)
    for line in (lines - low) * factor + 3:
        draw.line([tuple(point) for point in line.tolist()], fill=150, width=4)
    for (kind, *_), corner in zip(pads, corners, strict=True):
        place_ = ((corner - low) * factor + 3).tolist()
        if kind in ("circle", "oval"):
            (left, top), (right, bottom) = np.min(place_, axis=0).tolist(), np.max(place_, axis=0).tolist()
            draw.rounded_rectangle((left, top, right, bottom), min(right - left, bottom - top) / 2, fill=255)
        else:
            draw.polygon([tuple(point) for point in place_], fill=255)
    return mask


def molecule_rings(rng: np.random.Generator) -> Iterator[Sample]:
    chemistry = import_from(RDKIT, "rdkit.Chem.Draw.rdMolDraw2D")
    chemistry.RDLogger.DisableLog("rdApp.*")
    variety = Variety(size=0.9, shift=0.03, noise=10)

    (file,) = files_of(RDKIT, "rdkit/Data/NCI/first_5K.smi")
    count = Counter[int]()
    for line in file.read_text("ascii").splitlines():
        molecule = chemistry.Chem.MolFromSmiles(line.split("\t")[0])
        if molecule is None or not 6 <= molecule.GetNumAtoms() <= 28:
            continue
        rings = min(molecule.GetRingInfo().NumRings(), MOST_RINGS)
        count[rings] += 1
        for _ in range(2 if count[rings] <= 650 else 0):
            canvas = chemistry.Chem.Draw.rdMolDraw2D.MolDraw2DSVG(240, 240)
            options = canvas.drawOptions()
            options.useBWAtomPalette()
            options.rotate = float(rng.uniform(0, 360))
            options.bondLineWidth = 4
            canvas.DrawMolecule(molecule)
            canvas.FinishDrawing()
            ground = draw_svg(canvas.GetDrawingText(), 120).convert("L")
            mask = place(ImageOps.invert(ground), 40, variety, rng)
            yield ink(mask, variety, rng), f"{rings} rings", chemistry.Chem.MolToSmiles(molecule)


def bar_codes(rng: np.random.Generator) -> Iterator[Sample]:
    codes = import_from(ZXING, "zxingcpp")
    variety = Variety(turn=6, size=0.85, shift=0.04, blur=0.02, noise=30, ink="any")
    for number in range(300):
        for name, digits in CODES.items():
            text = "".join(map(str, rng.integers(0, 10, digits)))
            framed = f"A{text}A" if name == "Codabar" else text
            code = codes.create_barcode(framed, getattr(codes.BarcodeFormat, name))
            bars = 255 - np.array(code.to_image(scale=4, add_quiet_zones=False))
            mask = Image.fromarray(np.ascontiguousarray(bars[: 4 * MODULES, : 4 * MODULES]))
            yield ink(place(mask, 32, variety, rng), variety, rng), name, str(number)


def speech_languages(rng: np.random.Generator) -> list[Sample]:
    def read() -> Iterator[Sample]:
        for language, source in zip(LANGUAGES, SPEECH, strict=True):
            for file in files_of(source, "usr/share/asterisk/sounds/*/**/*.wav"):
                with wave.open(str(file)) as sound:
                    if sound.getframerate() != 8000 or sound.getsampwidth() != 2 or "silence" in file.parts:
                        continue
                    samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float64)
                for start in range(0, len(samples) - HOP * BANDS - WINDOW, 3 * HOP * BANDS // 2)[:4]:
                    cut = samples[start : start + HOP * (BANDS - 1) + WINDOW]
                    if cut.std() > 300:
                        group = "/".join(file.parts[file.parts.index("sounds") + 2 :])
                        yield draw_spectrogram(cut), language, group

    return thin(read(), 1300, rng)


def instrument_sounds(rng: np.random.Generator) -> list[Sample]:
    (file,) = files_of(SOUNDFONT, "usr/share/sounds/sf2/FluidR3_GM.sf2")
    raw = file.read_bytes()
    sounds, headers = raw.index(b"smpl") + 8, raw.rindex(b"shdr") + 8
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for place_ in range(headers, headers + struct.unpack_from("<I", raw, headers - 4)[0], 46):
        name, start, end, *_, rate = struct.unpack_from("<20s5I", raw, place_)
        note = NOTE.fullmatch(name.split(b"\0")[0].decode("latin-1"))
        if note:
            found.setdefault(note[1], {}).setdefault(note[2].upper(), (start, end, rate))

    def draw() -> Iterator[Sample]:
        for instrument, notes in found.items():
            for note, (start, end, rate) in notes.items() if len(notes) >= FEWEST_NOTES else ():
                samples = np.frombuffer(raw[sounds + 2 * start : sounds + 2 * end], "<i2").astype(np.float64)
                slow = resample_poly(samples, 441, rate // 25)
                length = HOP * (BANDS - 1) + WINDOW
                for begin in range(0, len(slow) - length, HOP * BANDS // 3)[:18]:
                    cut = slow[begin : begin + length]
                    if cut.std() > 100:
                        yield draw_spectrogram(cut), instrument, f"{instrument} {note}"

    return thin(draw(), 240, rng)


def draw_spectrogram(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(BANDS, BANDS, 1) uint8: time from left to right, low tones at the bottom, loud ones bright."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows, axis=1)[:, 1:]) ** 2
    bands = 10 * np.log10(power.reshape(len(power), BANDS, -1).mean(axis=2) + 1)
    return to_bytes(255 * (1 + (bands - bands.max()) / LOUD)).T[::-1, :, None].copy()


KICAD = package("apt", "kicad-footprints")
RDKIT = package("pip", "rdkit")
ZXING = package("pip", "zxing-cpp")
SPEECH = tuple(package("apt", f"asterisk-core-sounds-{language}-wav") for language in LANGUAGES)
SOUNDFONT = package("apt", "fluid-soundfont-gm")
DIAGRAMS = (
    ZooSet(
        "circuit_footprints",
        "Pads and outlines of electronic parts, grey; the class is the kind of part. Groups: series of parts",
        (KICAD,), circuit_footprints, "medium", 1, copied=True, lot=3,
    ),
    ZooSet(
        "molecule_rings",
        "Molecules as structural formulas, grey; the class is the number of rings, 0 to 4 or more. Groups: molecules",
        (RESVG, RDKIT), molecule_rings, "medium", 1, lot=3,
    ),
    ZooSet(
        "bar_codes",
        "Corners of bar codes of random digits, turned and noisy, grey; the class is the standard. Groups: numbers",
        (ZXING,), bar_codes, "easy", 1, lot=3,
    ),
    ZooSet(
        "speech_languages",
        "Spectrograms of half a second of a telephone's prompts; the class is the language, by one voice each. Groups: "
        "prompts",
        SPEECH, speech_languages, "medium", 1, lot=3,
    ),
    ZooSet(
        "instrument_sounds",
        "Spectrograms of a third of a second of single notes; the class is the instrument or voice. Groups: notes",
        (SOUNDFONT,), instrument_sounds, "medium", 1, lot=4,
    ),
)  # fmt: skip

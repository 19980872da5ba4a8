# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The GPU that `fathom --device N` runs on, from the library that Fathom's driver
asks: CUDA counts devices in an order of its own, among those that
CUDA_VISIBLE_DEVICES leaves, and nvidia-smi counts neither so."""
import ctypes
import os
import subprocess

_CAPABILITY = (75, 76)  # the attributes of its two parts


class NoDevice(Exception):
    pass


class Device:
    def __init__(self, ordinal):
        file = os.environ.get("FATHOM_LIBCUDA") or "libcuda.so.1"
        try:
            self._cuda = ctypes.CDLL(file)
        except OSError as error:
            raise NoDevice(f"there is no NVIDIA driver here: {error}")
        self._call("cuInit", 0)
        count, device = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not 0 <= ordinal < count.value:
            raise NoDevice(f"there is no NVIDIA GPU {ordinal} here, of "
                           f"{count.value} that CUDA shows")
        self._call("cuDeviceGet", ctypes.byref(device), ordinal)
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, 255, device)
        self.name = name.value.decode()
        parts = []
        for attribute in _CAPABILITY:
            value = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute,
                       device)
            parts.append(str(value.value))
        self.capability = ".".join(parts)
        size = ctypes.c_size_t()
        self._call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
        self.memory = f"{size.value >> 20} MiB"

    def _call(self, name, *arguments):
        function = getattr(self._cuda, name, None)
        if not function:
            raise NoDevice(f"the NVIDIA driver has no {name}")
        if code := function(*arguments):
            raise NoDevice(f"{name} failed: error {code}")


def driver_version():
    """Of all NVIDIA GPUs of this machine; CUDA does not say it."""
    try:
        text = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version",
             "--format=csv,noheader"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        text = ""
    return text.strip().split("\n")[0] or "unknown"

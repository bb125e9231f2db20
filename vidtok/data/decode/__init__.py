"""Reading frames of video files, exactly.

The frames of a video are its decodable pictures in presentation order, after edit lists and display rotation.
Every engine returns exactly those of a full sequential decode, or hands the file to PyAV and says why.
"""

from vidtok.data.decode.info import FrameListChanged, PixelFormat, VideoInfo
from vidtok.data.decode.known import PacketStore, default_store
from vidtok.data.decode.limits import DEFAULT_LIMITS, DecodeLimits
from vidtok.data.decode.pyav import VERIFY_MAX_FRAMES
from vidtok.data.decode.reader import ENGINES, Decoded, Reader, check_engine, decode_frames, open_video, probe

__all__ = [
    "DEFAULT_LIMITS",
    "ENGINES",
    "VERIFY_MAX_FRAMES",
    "DecodeLimits",
    "Decoded",
    "FrameListChanged",
    "PacketStore",
    "PixelFormat",
    "Reader",
    "VideoInfo",
    "check_engine",
    "decode_frames",
    "default_store",
    "open_video",
    "probe",
]

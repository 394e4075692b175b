"""What packed pictures of other files are asked before they are decoded."""


def is_whole(frame: bytes) -> bool:
    """Whether a JPEG or JPEG-LS frame has the mark of its end behind that of its last pixels; no
    pixels hold either mark. Of other packings, whose decoders ask themselves, always."""
    return frame[:2] != b"\xff\xd8" or frame.rfind(b"\xff\xd9") > frame.rfind(b"\xff\xda")

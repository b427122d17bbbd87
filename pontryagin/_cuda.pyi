toolkit: tuple[int, int]
architectures: tuple[int, ...]

def image(name: str) -> bytes: ...

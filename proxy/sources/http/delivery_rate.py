"""Whether an origin still delivers, or only trickles: a pure measure of bytes per time waited."""


class DeliveryRate:
    """Looks at spans of `span_s` in which we waited for an origin; what we took ourselves does not count."""

    def __init__(self, least_rate_bytes: int, span_s: float) -> None:
        self._least_rate_bytes = least_rate_bytes
        self._span_s = span_s
        self._waited_s = 0.0
        self._size_bytes = 0
        self.rate_bytes = 0
        """Bytes a second in the last whole span."""
        self.is_weak = False
        """Whether that was less than the least."""

    def beat(self, size_bytes: int, waited_s: float) -> None:
        """Take note of bytes, and of how long they were waited for."""
        self._size_bytes += size_bytes
        self._waited_s += waited_s
        if self._waited_s >= self._span_s:
            self.rate_bytes = int(self._size_bytes / self._waited_s)
            self.is_weak = self.rate_bytes < self._least_rate_bytes
            self._waited_s, self._size_bytes = 0.0, 0

"""A token bucket: so many calls a second, with room for a burst."""

from dataclasses import dataclass


@dataclass
class TokenBucket:
    """Tokens flow in at `rate` per second up to `capacity`; each call takes some out."""

    rate: float
    capacity: float
    tokens: float
    updated_at: float

    @classmethod
    def full(cls, rate, capacity, now):
        """A bucket that starts full at the moment `now` (seconds)."""
        if rate <= 0 or capacity <= 0:
            raise ValueError("rate and capacity must be positive")
        return cls(rate, capacity, capacity, now)

    def refill(self, now):
        """Let tokens flow in; a clock that goes back adds none and takes none."""
        passed = max(0.0, now - self.updated_at)
        self.tokens = min(self.capacity, self.tokens + passed * self.rate)
        self.updated_at = max(self.updated_at, now)

    def take(self, amount, now):
        """Take `amount` tokens if they are there; a refusal takes nothing."""
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.refill(now)
        if amount > self.tokens:
            return False
        self.tokens -= amount
        return True

    def wait_s(self, amount, now):
        """Seconds until `amount` tokens are there, or None when they never will be."""
        self.refill(now)
        if amount > self.capacity:
            return None
        return max(0.0, (amount - self.tokens) / self.rate)

"""All figures, or those that are named."""

from benchmarks import buffers, deliver_on, flood, open_requests, round_trip
from benchmarks.command import run

if __name__ == "__main__":
    run(
        [
            flood.SCRIPT,
            open_requests.SCRIPT,
            round_trip.SCRIPT,
            deliver_on.SCRIPT,
            buffers.SCRIPT,
        ]
    )

"""Writing results: where to, in which form, whole or not at all."""

from batchq.formats.writers.destination import Destination, check_destination, url_destination
from batchq.formats.writers.lines import result_line
from batchq.formats.writers.write import Written, write

__all__ = ["Destination", "Written", "check_destination", "result_line", "url_destination", "write"]

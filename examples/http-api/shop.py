"""The API that is asked: `python examples/http-api/shop.py 8099`. Each article's first caller is told to come again."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARTICLES = {
    "lamp-17": {"pieces": 4, "price": 39.5},
    "mug-02": {"pieces": 120, "price": 7.25},
    "rug-88": {"pieces": 0, "price": 210.0},
    "pen-31": {"pieces": 15, "price": 3.0},
}
_asked: set[str] = set()


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        sku = self.path.removeprefix("/stock/")
        if sku not in _asked:
            _asked.add(sku)
            self.answer(503 if sku.startswith("pen") else 429, {"error": "come again"})
        elif sku in ARTICLES:
            self.answer(200, ARTICLES[sku])
        else:
            self.answer(404, {"error": "no such article"})

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()

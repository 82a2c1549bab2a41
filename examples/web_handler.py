"""An array of pixels over HTTP, encoded for each request: /image.psg without loss, /image.psg?bpp=0.3 with.

python examples/web_handler.py PHOTO [PORT]
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import presage


def server_of(pixels: NDArray[np.uint8], port: int = 0) -> HTTPServer:
    """A server on 127.0.0.1 of pixels (H, W, 3); with port 0 on any free one, see its `server_port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                wanted = parse_qs(urlsplit(self.path).query).get("bpp")
                data = presage.encode_lossy(pixels, bpp=float(wanted[0])) if wanted else presage.encode(pixels)
            except (ValueError, presage.ImageRefused) as error:
                self.send_error(400, explain=str(error))
                return
            self.send_response(200)
            self.send_header("Content-Type", "image/x-presage")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return HTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    server_of(np.asarray(Image.open(sys.argv[1]).convert("RGB")), int(sys.argv[2]) if len(sys.argv) > 2 else 8000).serve_forever()

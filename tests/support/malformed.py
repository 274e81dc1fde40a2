"""Malformed HTTP/1.1 and requests that cannot be served, in one table for all tests."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.attacks.http1 import request

_GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
_POST_1_0 = b"POST / HTTP/1.0\r\nHost: h\r\n"

NO_HOSTS = (
    *(b"", b"a b/c?", b"a b", b"h/path", b"h?x", b"h#x", b"http://h", b"user@h", b"user:password@h", b"@h"),
    *(b"h:port", b"h:-1", b"h:65536", b"h:99999", b"h:123456789", b"h:80:80", b":80", b":", b"h:8 0", b"h:+80"),
    *(b"[::1", b"::1", b"[::1]x", b"[]", b"[h]", b"[:::]", b"[1.2.3.4]", b"h%zz", b"h%2", b"h\\x", b"h<x>", b'"h"'),
    *(b"h\xff", b"h\xc3\xa4", b"h\tx", b"{h}", b"h|x", b"h^x", b"h`x"),
)
"""Values of ``Host`` that name no host; HTTP/1.0 may leave it empty."""

NO_URLS = (
    *(b"http://user@h/", b"http://user:password@h/", b"http://@h/", b"http://h:port/", b"http://h:65536/"),
    *(
        b"http:///path",
        b"http://",
        b"http://[::1/",
        b"http://[h]/",
        b"http://h%zz/",
        b"ftp://h/",
        b"file:///etc/passwd",
    ),
    *(b"http://h:80:80/", b"http://h\xff/", b"http:h/", b"urn:h", b"h/path", b"https://user@h/", b"ws://h/"),
)
"""Targets in absolute form, or in none, that name no host which HTTP can reach."""

NOT_HTTP: Mapping[str, bytes] = {
    "no request line": b"nonsense\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2.0 in the words of HTTP/1": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "HTTP/3.7": b"GET / HTTP/3.7\r\nHost: h\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown protocol": b"GET / HTTX/1.1\r\nHost: h\r\n\r\n",
    "binary garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
    "another TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
    "an unknown method": b"NONSENSE / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method of another protocol": b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method that is no token": b"G\xc3\x84T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a long path": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "a long query": b"GET /?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "a long header": _GET + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    "a long header with a long name": _GET + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n",
    "a long header name": _GET + b"x" * 20_000 + b": y\r\n\r\n",
    "a thousand headers": _GET + b"X: y\r\n" * 1000 + b"\r\n",
    "200 000 headers": _GET + b"X: y\r\n" * 200_000 + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a header without a colon": _GET + b"X\r\n\r\n",
    "a header of two words without a colon": _GET + b"no header\r\n\r\n",
    "a blank before the colon": _GET + b"X : y\r\n\r\n",
    "a blank in a header's name": _GET + b"X Y: z\r\n\r\n",
    "a header without a name": _GET + b": z\r\n\r\n",
    "a folded header": _GET + b"X: a\r\n b\r\n\r\n",
    "a NUL in a header": _GET + b"X: a\x00b\r\n\r\n",
    "a lone CR in a header": _GET + b"X: a\rY: b\r\n\r\n",
    "a length that is no number": _POST + b"Content-Length: ten\r\n\r\n",
    "a length below zero": _POST + b"Content-Length: -5\r\n\r\n",
    "a length of minus one": _POST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": _POST + b"Content-Length: +1\r\n\r\nx",
    "a length beyond 64 bits": _POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths in one": _POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length and chunks": _POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding, chunks and a length": _POST + b"Content-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks in HTTP/1.0": _POST_1_0 + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "another coding before chunks in HTTP/1.0": _POST_1_0 + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "129 headers": _GET + b"X: y\r\n" * 128 + b"\r\n",
    **{f"the host {host!r}": b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in NO_HOSTS},
    **{f"the host {host!r} in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: " + host + b"\r\n\r\n" for host in NO_HOSTS if host},
    **{f"the target {url!r}": b"GET " + url + b" HTTP/1.1\r\nHost: h\r\n\r\n" for url in NO_URLS},
    "two hosts": _GET + b"Host: h\r\n\r\n",
    "two different hosts": _GET + b"Host: other\r\n\r\n",
    "two hosts in one": b"GET / HTTP/1.1\r\nHost: h, h\r\n\r\n",
    "a host that is none beside a URL": b"GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n",
}
"""Bytes that every service refuses with 400 before closing the connection."""

OTHER_CODINGS: Mapping[str, bytes] = {
    coding: _POST
    + b"".join(b"Transfer-Encoding: %b\r\n" % line.encode() for line in coding.split(" + "))
    + b"\r\n2\r\n{}\r\n0\r\n\r\n"
    for coding in (
        "gzip",
        "gzip, chunked",
        "gzip,chunked",
        "GZIP , Chunked",
        "\tx-gzip\t,\tchunked",
        "deflate, chunked",
        "compress, gzip, chunked",
        "br, chunked",
        "unknown, chunked",
        "identity",
        "identity, chunked",
        "Identity , CHUNKED",
        "chunked, gzip",
        "chunked, identity",
        "chunked, chunked",
        ", chunked",
        "chunked,",
        "chunked;q=1",
        "chunked;x, chunked",
        "xchunked",
        "chunkedx",
        '"chunked"',
        "gzip;level=9, chunked",
        "gzip + chunked",
        "chunked + gzip",
        "chunked + chunked",
        "identity + chunked",
    )
}
"""Requests, by their transfer coding, that every service refuses with 501 before closing the connection; `` + `` stands
between two headers."""

CHUNKS: Mapping[str, bytes] = {
    "a word for a size": b"garbage\r\n\r\n",
    "a size that is no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "a size below zero": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size of minus one": b"-1\r\nx\r\n0\r\n\r\n",
    "a size that is too small": b"1\r\n{}\r\n0\r\n\r\n",
    "a size that is much too small": b"2\r\nabcdef\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"f" * 20 + b"\r\n{}\r\n",
    "a size just beyond 64 bits": b"f" * 17 + b"\r\n",
    "no size": b"\r\n{}\r\n0\r\n\r\n",
}
"""Bytes that are refused with 400 in place of an announced chunked body."""


def holding(secret: str, target: str = "/") -> Mapping[str, bytes]:
    """Return malformed requests with the secret in every possible place; no log may contain the secret."""
    token, there = f"X-Auth-Token: {secret}", f"GET {target} HTTP/1.1\r\nHost: h\r\n"
    chunked = request("POST", target, token, "Content-Type: application/json", "Transfer-Encoding: chunked")
    lines = {
        "a control character in a header": f"{there}X-Auth-Token: {secret}\x01\r\n\r\n",
        "a blank before the colon": f"{there}X-Auth-Token : {secret}\r\n\r\n",
        "a NUL in a header": f"{there}X-Auth-Token: {secret}\x00\r\n\r\n",
        "a bare line feed": f"GET {target} HTTP/1.1\nHost: h\n{token}\n\n",
        "a bare carriage return": f"{there}X-Auth-Token: {secret}\rX: y\r\n\r\n",
        "a folded header": f"{there}X-Auth-Token:\r\n {secret}\r\n\r\n",
        "a long header": f"{there}X-Auth-Token: {secret}{'x' * 20_000}\r\n\r\n",
        "a long name of a header": f"{there}{secret}{'x' * 20_000}: y\r\n\r\n",
        "a header without a colon": f"{there}{secret}\r\n\r\n",
        "a header without a name": f"{there}: {secret}\r\n\r\n",
        "a blank in a name": f"{there}X {secret}: y\r\n\r\n",
        "too many headers": f"{there}{f'{token}{chr(13)}{chr(10)}' * 200}\r\n",
        "no host": f"GET {target} HTTP/1.1\r\n{token}\r\n\r\n",
        "two hosts": f"{there}Host: {secret}\r\n\r\n",
        "a secret for a method": f"{secret} {target} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a secret for a version": f"GET {target} {secret}\r\nHost: h\r\n\r\n",
        "a secret for a request line": f"{secret}\r\nHost: h\r\n\r\n",
        "a blank in the target": f"GET {target} {secret} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a long target": f"GET {target}?{secret}{'x' * 20_000} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a NUL in the target": f"GET {target}?{secret}\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
        "a target that is no URL": f"GET http://[{secret} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a user in the target": f"GET http://{secret}@h{target} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a fragment": f"GET {target}#{secret} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a query": f"GET {target}?token={secret} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a name in a query": f"GET {target}?{secret} HTTP/1.1\r\nHost: h\r\n\r\n",
        "a tunnel": f"CONNECT {secret}:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        "a length": f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {secret}\r\n\r\n",
        "a transfer encoding": f"POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {secret}\r\n\r\n",
        "an expectation": f"{there}{token}\r\nExpect: {secret}\r\n\r\n",
        "a media type": f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Type: {secret}\r\nContent-Length: 2\r\n\r\n{{}}",
        "what is accepted": f"{there}Accept: {secret}\r\n\r\n",
        "a time-out": f"{there}{token}\r\nGrpc-Timeout: {secret}\r\n\r\n",
        "an upgrade": f"{there}{token}\r\nConnection: Upgrade\r\nUpgrade: {secret}\r\n\r\n",
        "two tokens": f"{there}{token}\r\n{token}\r\n\r\n",
        "a token that is no ASCII": f"{there}X-Auth-Token: {secret}\u00e9\r\n\r\n",
        "HTTP/2 in the words of HTTP/1": f"GET {target} HTTP/2.0\r\nHost: h\r\n{token}\r\n\r\n",
    }
    return {
        **{name: text.encode() for name, text in lines.items()},
        "bytes that are no text": f"{there}X-Auth-Token: {secret}".encode() + b"\xff\r\n\r\n",
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + secret.encode() + b"\r\n\r\n",
        "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + secret.encode(),
        "a body": request("POST", target, "Content-Type: application/json", body=f'{{"{secret}"'.encode()),
        "an unknown member": request(
            "POST", target, "Content-Type: application/json", body=f'{{"{secret}":1}}'.encode()
        ),
        "a chunk that is none": chunked + f"{secret}\r\n\r\n".encode(),
        "an extension of a chunk": chunked + f"2;{secret}\x01\r\n{{}}\r\n0\r\n\r\n".encode(),
        "a trailer": chunked + f"2\r\n{{}}\r\n0\r\nX-Auth-Token : {secret}\r\n\r\n".encode(),
        "a long trailer": chunked + f"2\r\n{{}}\r\n0\r\nX: {secret}{'x' * 20_000}\r\n\r\n".encode(),
        "garbage behind a request": request("GET", target, token) + f"{secret}\r\n\r\n".encode(),
    }

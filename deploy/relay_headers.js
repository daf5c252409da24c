// Filter the CDN's responses to relayed segments with the edge's own rules (check_upstream_response and
// FORWARDED_RESPONSE_HEADERS in proxy/web/responses.py). nginx.conf cannot do this: it hides headers by
// name only, and forwards invalid HTTP.

const FORWARDED_HEADERS = [
    "accept-ranges", "content-disposition", "content-length", "content-range", "content-type",
    "etag", "last-modified",
    "connection", "date", "server", "transfer-encoding", // nginx's own
];
const CONTENT_TYPES = {
    "aac": "audio/aac", "m4s": "video/mp4", "mp4": "video/mp4", "ts": "video/mp2t", "vtt": "text/vtt",
};
const CONTENT_STATUSES = ["200", "206", "416"];

function refuse(r, message) {
    r.status = 502; // as the edge would respond; for the access log
    r.headersOut["X-Deny-Reason"] = "platform-bad-response";
    throw new Error(message); // closes the connection without a response
}

function checkResponse(r) {
    // The last of several upstreams; empty if the response comes from the cache.
    const status = (r.variables.upstream_status || "200").split(/[ ,:]+/).pop();
    if (r.httpVersion === "0.9" || CONTENT_STATUSES.indexOf(status) < 0) {
        // nginx forwards invalid HTTP as HTTP/0.9 without headers, and 1xx as a final response: clients
        // would read the body as a response of this origin.
        refuse(r, "the CDN's response is not valid HTTP with status 200, 206 or 416");
    }
    const isEncoding = (header) => header[0].toLowerCase() === "content-encoding";
    if (r.rawHeadersOut.some((header) => isEncoding(header) && header[1].toLowerCase() !== "identity")) {
        refuse(r, "the CDN compressed the bytes");
    }
    // CDNs name segments text/html, too. Players ignore it, and a page must not appear under this origin.
    const types = [r.variables.upstream_http_content_type, r.headersOut["Content-Type"]];
    if (types.some((type) => /text\/html/i.test(type || ""))) {
        const extension = r.uri.split(".").pop().toLowerCase();
        r.headersOut["Content-Type"] = CONTENT_TYPES[extension] || "application/octet-stream";
    }
    // NEL or Service-Worker-Allowed would act in the name of this origin.
    Object.keys(r.headersOut)
        .filter((name) => FORWARDED_HEADERS.indexOf(name.toLowerCase()) < 0)
        .forEach((name) => delete r.headersOut[name]);
}

// If the CDN responds with 401, nginx copies its WWW-Authenticate header to the error response.
function dropChallenge(r) {
    if (r.variables.deny_is_401 !== "1") {
        delete r.headersOut["WWW-Authenticate"];
    }
}

export default { checkResponse, dropChallenge };

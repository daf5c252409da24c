// Checks and filters the CDN's responses to /relay/bytes/, with the same rules as the edge
// (check_upstream_response and FORWARDED_RESPONSE_HEADERS in proxy/web/responses.py). nginx directives
// cannot do this: they hide headers by name only, and pass on responses that are not HTTP.

const ALLOWED_HEADERS = [
    "accept-ranges", "content-disposition", "content-length", "content-range", "content-type",
    "etag", "last-modified",
    "connection", "date", "server", "transfer-encoding", // set by nginx
];
const CONTENT_STATUSES = ["200", "206", "416"];

function refuse(r, problem) {
    r.status = 502; // same as the edge; for the access log
    r.headersOut["X-Deny-Reason"] = "platform-bad-response";
    throw new Error(problem); // closes the connection without a response
}

function checkAnswer(r) {
    // The status of the last upstream that was tried; empty if the response is from the cache.
    const status = (r.variables.upstream_status || "200").split(/[ ,:]+/).pop();
    if (r.httpVersion === "0.9" || CONTENT_STATUSES.indexOf(status) < 0) {
        // nginx passes on a response that is not HTTP as HTTP/0.9, without headers, and 1xx as if it
        // were final: browsers would read the body as a response of this origin.
        refuse(r, "the CDN's response is not content");
    }
    const isEncoding = (header) => header[0].toLowerCase() === "content-encoding";
    if (r.rawHeadersOut.some((header) => isEncoding(header) && header[1].toLowerCase() !== "identity")) {
        refuse(r, "the CDN's response is compressed");
    }
    // With several types, browsers and nginx use the last. 412 and 416 are nginx's own pages.
    const types = [r.variables.upstream_http_content_type];
    if (r.status !== 412 && r.status !== 416) {
        types.push(r.headersOut["Content-Type"]);
    }
    if (types.some((type) => /(^|,)\s*text\/html\s*([;,]|$)/i.test(type || ""))) {
        refuse(r, "the CDN sent an HTML page instead of media");
    }
    // Headers such as NEL or Service-Worker-Allowed would apply to this origin.
    Object.keys(r.headersOut)
        .filter((name) => ALLOWED_HEADERS.indexOf(name.toLowerCase()) < 0)
        .forEach((name) => delete r.headersOut[name]);
}

// If the CDN responds with 401, nginx copies its WWW-Authenticate into the response it sends instead.
function dropChallenge(r) {
    if (r.variables.deny_is_401 !== "1") {
        delete r.headersOut["WWW-Authenticate"];
    }
}

export default { checkAnswer, dropChallenge };

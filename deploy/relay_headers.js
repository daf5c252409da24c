// What viewers get of the CDN's answers to relayed bytes: the edge's own rules (check_answer and
// TOLD in proxy/web/answers.py). nginx alone cannot do this: it hides headers by name only, and
// passes on answers that are none.

const KEPT = [
    "accept-ranges", "content-disposition", "content-length", "content-range", "content-type",
    "etag", "last-modified",
    "connection", "date", "server", "transfer-encoding", // nginx's own
];
const CONTENT = ["200", "206", "416"];

function refuse(r, why) {
    r.status = 502; // what the edge would answer, for the access log
    r.headersOut["X-Deny-Reason"] = "platform-bad-response";
    throw new Error(why); // ends the connection without an answer
}

function checkAnswer(r) {
    // Of several upstreams, the last; nothing where the answer comes from the cache.
    const status = (r.variables.upstream_status || "200").split(/[ ,:]+/).pop();
    if (r.httpVersion === "0.9" || CONTENT.indexOf(status) < 0) {
        // nginx passes on what is no HTTP as HTTP/0.9, without any head, and 1xx as if it were
        // final: the body would be read as an answer of this origin.
        refuse(r, "the CDN's answer is no content");
    }
    const isEncoding = (header) => header[0].toLowerCase() === "content-encoding";
    if (r.rawHeadersOut.some((it) => isEncoding(it) && it[1].toLowerCase() !== "identity")) {
        refuse(r, "bytes came compressed");
    }
    // Of several types browsers take the last, and nginx, too. 412 and 416 are pages of nginx's own.
    const types = [r.variables.upstream_http_content_type];
    if (r.status !== 412 && r.status !== 416) {
        types.push(r.headersOut["Content-Type"]);
    }
    if (types.some((it) => /(^|,)\s*text\/html\s*([;,]|$)/i.test(it || ""))) {
        refuse(r, "a page came in place of bytes");
    }
    // Under our name, NEL or Service-Worker-Allowed would speak for this origin.
    Object.keys(r.headersOut)
        .filter((name) => KEPT.indexOf(name.toLowerCase()) < 0)
        .forEach((name) => delete r.headersOut[name]);
}

// Where the CDN says 401, nginx copies its challenge to the answer that is given instead.
function dropChallenge(r) {
    if (r.variables.deny_is_401 !== "1") {
        delete r.headersOut["WWW-Authenticate"];
    }
}

export default { checkAnswer, dropChallenge };

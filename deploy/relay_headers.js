// What viewers get of the CDN's answers to relayed bytes: the edge's own rules (check_answer and
// TOLD in proxy/web/answers.py). nginx alone cannot do this: it hides headers by name only, and
// passes on answers that are none.

const KEPT = [
    "accept-ranges", "content-disposition", "content-length", "content-range", "content-type",
    "etag", "last-modified",
    "connection", "date", "server", "transfer-encoding", // nginx's own
];
const CONTENT = ["200", "206", "416"];

// An answer that is thrown at here ends the connection without one.
function checkAnswer(r) {
    // Of several upstreams, the last; nothing where the answer comes from the cache.
    const status = (r.variables.upstream_status || "200").split(/[ ,:]+/).pop();
    if (r.httpVersion === "0.9" || CONTENT.indexOf(status) < 0) {
        // nginx passes on what is no HTTP as HTTP/0.9, without any head, and 1xx as if it were
        // final: the body would be read as an answer of this origin.
        throw new Error("the CDN's answer is no content");
    }
    const isEncoding = (header) => header[0].toLowerCase() === "content-encoding";
    if (r.rawHeadersOut.some((it) => isEncoding(it) && it[1].toLowerCase() !== "identity")) {
        throw new Error("bytes came compressed");
    }
    // Not where there is no such range: nginx says so in a page of its own.
    if (r.status !== 416 && /^\s*text\/html\s*(;|$)/i.test(r.headersOut["Content-Type"] || "")) {
        throw new Error("a page came in place of bytes");
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

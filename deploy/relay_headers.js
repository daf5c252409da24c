// The response headers of relayed bytes that viewers get: the same list as the edge's own
// (TOLD in proxy/web/answers.py). Everything else that the CDN sends stays with nginx: under our
// name, NEL or Service-Worker-Allowed would speak for this origin. nginx can hide headers by name
// only, so an allow-list takes this script.

const KEPT = [
    "accept-ranges", "content-disposition", "content-length", "content-range", "content-type",
    "etag", "last-modified",
    "connection", "date", "server", "transfer-encoding", // nginx's own
];

function keepListed(r) {
    Object.keys(r.headersOut)
        .filter((name) => KEPT.indexOf(name.toLowerCase()) < 0)
        .forEach((name) => delete r.headersOut[name]);
}

export default { keepListed };

// Plays /watch/{id}#{token}: with hls.js wherever Media Source Extensions exist, with the browser's
// own HLS in WebKit (for AirPlay and FairPlay) and where there are none. If the first player fails
// on the media itself, the other one is tried once. If nothing plays, the page says what is known.
//
// ?player=hls.js and ?player=native choose one player and switch the second try off.
"use strict";

const video = document.getElementById("video");
const message = document.getElementById("message");
const id = location.pathname.split("/").pop();
const token = location.hash.slice(1).replace(/^token=/, "");
const source = `/play/${encodeURIComponent(id)}.m3u8?token=${encodeURIComponent(token)}`;
// Refusals that may be over in a moment, although their status is below 500.
const RETRYABLE = ["live-off-air", "stream-unavailable"];

document.documentElement.classList.toggle("framed", window !== window.top);

// A failure: what is known of it. `status` is 0 if no request was refused.
const failure = (text, { status = 0, host = "", problem = null } = {}) => ({ text, status, host, problem });

// Each player takes a function to call with its failure, and returns a function that stops it.
const PLAYERS = {
  "hls.js": {
    isSupported: () => Boolean(window.Hls?.isSupported()),
    start(fail) {
      const hls = new Hls({ enableWorker: false });
      hls.on(Hls.Events.ERROR, (_event, data) => {
        if (data.fatal) fail(describeHlsError(data));
      });
      hls.loadSource(new URL(source, location).href);
      hls.attachMedia(video);
      return () => hls.destroy();
    },
  },
  native: {
    isSupported: () => Boolean(video.canPlayType("application/vnd.apple.mpegurl")),
    start(fail) {
      const onError = () => fail(failure(`native: ${video.error.message || `MediaError ${video.error.code}`}`));
      video.addEventListener("error", onError);
      video.src = source;
      // Before it loads: Chromium often fails to start a live channel that it loads while paused.
      video.play().catch(() => {}); // not allowed to, or failed: then "error" says why
      return () => {
        video.removeEventListener("error", onError);
        video.removeAttribute("src");
        video.load();
      };
    },
  },
};

// The players to try, in order.
const choosePlayers = () => {
  const wanted = new URLSearchParams(location.search).get("player");
  const isWebKit = "WebKitPlaybackTargetAvailabilityEvent" in window || "WebKitMediaKeys" in window;
  const order = Object.hasOwn(PLAYERS, wanted) ? [wanted] : isWebKit ? ["native", "hls.js"] : ["hls.js", "native"];
  return order.filter((name) => PLAYERS[name].isSupported());
};

const describeHlsError = (data) => {
  const text = `hls.js: ${[data.details, data.error?.message].filter(Boolean).join(", ")}`;
  const xhr = data.networkDetails;
  if (!(xhr instanceof XMLHttpRequest) || xhr.status < 400) return failure(text);
  const url = new URL(xhr.responseURL || data.url || source, location);
  return failure(text, { status: xhr.status, host: url.host, problem: readProblem(xhr) });
};

const readProblem = (xhr) => {
  if (!xhr.getResponseHeader("Content-Type")?.includes("json")) return null;
  try {
    const body = xhr.response instanceof ArrayBuffer ? new TextDecoder().decode(xhr.response) : xhr.responseText;
    return JSON.parse(body);
  } catch {
    return null;
  }
};

// The browser tells a page neither the status nor the reason behind a failed <video>, so ask the edge again.
const askEdge = async (failed) => {
  try {
    const answer = await fetch(source, { redirect: "manual", headers: { Accept: "application/problem+json" } });
    if (answer.type === "opaqueredirect" || answer.ok) return failed;
    const problem = await answer.json().catch(() => null);
    return failure(failed.text, { status: answer.status, host: location.host, problem });
  } catch {
    return { ...failed, isUnreachable: true };
  }
};

const play = async () => {
  if (!token) {
    show("This page needs a token after the # of its address.", { note: "token-missing" });
    return;
  }
  const failures = [];
  for (const name of choosePlayers()) {
    if (failures.length) {
      document.getElementById("note").textContent =
        `${failures[0].text}. Trying again with ${name === "native" ? "the browser's own player" : name}.`;
    }
    let stop = () => {};
    let failed = await new Promise((fail) => {
      stop = PLAYERS[name].start(fail);
    });
    // Once it has played, its token may have expired: a new request would be refused for that alone.
    const hasPlayed = video.played.length > 0;
    stop();
    if (!failed.status && !hasPlayed) failed = await askEdge(failed);
    failures.push(failed);
    if (failed.status || failed.isUnreachable) break; // the other player would be refused as well
  }
  explain(failures);
};

// Say what is known of the last failure.
const explain = (failures) => {
  const last = failures.at(-1);
  const note = failures.map((failed) => failed.text).filter(Boolean).join(" · ");
  if (!last) {
    show("This browser cannot play HLS.");
  } else if (last.problem?.reason) {
    const { detail, reason, request_id } = last.problem;
    const canRetry = last.status >= 500 || RETRYABLE.includes(reason);
    show(detail ?? "The server refused this video.", { note: `${reason} · request ${request_id} · ${note}`, canRetry });
  } else if (last.status) {
    const isLock = last.status === 403 && last.host !== location.host;
    show(`${last.host} refused the stream: HTTP ${last.status}.`, {
      note: `${note}${isLock ? ". A stream URL works from one address only: this browser may reach the page and the stream from different ones." : ""}`,
      canRetry: true,
    });
  } else if (last.isUnreachable) {
    show("The server cannot be reached.", { note, canRetry: true });
  } else {
    show("This browser could not play the stream.", { note, canRetry: true });
  }
};

// Cover the video with a sentence.
const show = (sentence, { note = "", canRetry = false } = {}) => {
  message.replaceChildren(sentence);
  if (note) message.append(Object.assign(document.createElement("small"), { textContent: note }));
  if (canRetry) {
    const retry = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
    retry.addEventListener("click", () => location.reload());
    message.append(retry);
  }
  message.hidden = false;
  document.getElementById("note").textContent = "";
  video.controls = false;
  video.removeAttribute("poster");
};

// Title, poster and live badge. The video plays without them.
const describeVideo = async () => {
  const answer = await fetch(`/watch/${encodeURIComponent(id)}/details`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!answer.ok) return;
  const { title, poster, live } = await answer.json();
  if (title) {
    document.title = title;
    document.getElementById("title").textContent = title;
  }
  if (poster && message.hidden) video.poster = poster;
  document.getElementById("live").hidden = !live;
};

addEventListener("hashchange", () => location.reload());
play();
if (token) describeVideo().catch(() => {});

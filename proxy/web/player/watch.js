// Plays the video of /watch/{id}#{token}. Uses the browser's own HLS player in WebKit (for AirPlay
// and FairPlay) and in browsers without Media Source Extensions, and hls.js in all other browsers.
// If the first player fails to play the media, the page tries the other player once. If both fail,
// the page shows the cause.
//
// ?player=hls.js and ?player=native select one player and disable the second try.
"use strict";

const video = document.getElementById("video");
const message = document.getElementById("message");
const id = location.pathname.split("/").pop();
const token = location.hash.slice(1).replace(/^token=/, "");
const source = `/play/${encodeURIComponent(id)}.m3u8?token=${encodeURIComponent(token)}`;
// Refusals that can be temporary although their status is below 500.
const RETRYABLE_REASONS = ["live-off-air", "stream-unavailable"];

document.documentElement.classList.toggle("framed", window !== window.top);

// Creates a failure. `status` is the HTTP status of the failed response from `host`, or 0 if no
// response failed; `problem` is the problem details of the edge, if the response has them.
const createFailure = (text, { status = 0, host = "", problem = null } = {}) => ({ text, status, host, problem });

// `start` takes a callback for the player's failure and returns a function that stops the player.
const PLAYERS = {
  "hls.js": {
    isSupported: () => Boolean(window.Hls?.isSupported()),
    start(fail) {
      const hls = new Hls({ enableWorker: false });
      hls.on(Hls.Events.ERROR, (_event, data) => {
        if (data.fatal) fail(convertHlsError(data));
      });
      hls.loadSource(new URL(source, location).href);
      hls.attachMedia(video);
      return () => hls.destroy();
    },
  },
  native: {
    isSupported: () => Boolean(video.canPlayType("application/vnd.apple.mpegurl")),
    start(fail) {
      const onError = () => fail(createFailure(`native: ${video.error.message || `MediaError ${video.error.code}`}`));
      video.addEventListener("error", onError);
      video.src = source;
      // Called before loading: Chromium often fails to start a live channel loaded while paused.
      video.play().catch(() => {}); // autoplay was blocked, or the "error" event reports the failure
      return () => {
        video.removeEventListener("error", onError);
        video.removeAttribute("src");
        video.load();
      };
    },
  },
};

// Returns the names of the players to try, in order.
const choosePlayers = () => {
  const selected = new URLSearchParams(location.search).get("player");
  const isWebKit = "WebKitPlaybackTargetAvailabilityEvent" in window || "WebKitMediaKeys" in window;
  const order = Object.hasOwn(PLAYERS, selected) ? [selected] : isWebKit ? ["native", "hls.js"] : ["hls.js", "native"];
  return order.filter((name) => PLAYERS[name].isSupported());
};

// Converts the error data of hls.js to a failure.
const convertHlsError = (data) => {
  const text = `hls.js: ${[data.details, data.error?.message].filter(Boolean).join(", ")}`;
  const xhr = data.networkDetails;
  if (!(xhr instanceof XMLHttpRequest) || xhr.status < 400) return createFailure(text);
  const url = new URL(xhr.responseURL || data.url || source, location);
  return createFailure(text, { status: xhr.status, host: url.host, problem: readProblem(xhr) });
};

// Reads the problem details in a response; null if it has none.
const readProblem = (xhr) => {
  if (!xhr.getResponseHeader("Content-Type")?.includes("json")) return null;
  try {
    const body = xhr.response instanceof ArrayBuffer ? new TextDecoder().decode(xhr.response) : xhr.responseText;
    return JSON.parse(body);
  } catch {
    return null;
  }
};

// Requests the play URL again and adds the edge's refusal to a failure. The browser hides the status
// and the reason of a failed <video> from the page.
const addRefusal = async (failure) => {
  try {
    const response = await fetch(source, { redirect: "manual", headers: { Accept: "application/problem+json" } });
    if (response.type === "opaqueredirect" || response.ok) return failure;
    const problem = await response.json().catch(() => null);
    return createFailure(failure.text, { status: response.status, host: location.host, problem });
  } catch {
    return { ...failure, isUnreachable: true };
  }
};

const play = async () => {
  if (!token) {
    showMessage("This page needs a token: add #TOKEN to the end of its URL.", { note: "token-missing" });
    return;
  }
  const failures = [];
  for (const name of choosePlayers()) {
    if (failures.length) {
      document.getElementById("note").textContent =
        `${failures[0].text}. Trying again with ${name === "native" ? "the browser's own player" : name}.`;
    }
    let stop = () => {};
    let failure = await new Promise((fail) => {
      stop = PLAYERS[name].start(fail);
    });
    // After the video has played, its token may have expired: the edge would refuse a new request
    // for that reason, which is not the cause of this failure.
    const hasPlayed = video.played.length > 0;
    stop();
    if (!failure.status && !hasPlayed) failure = await addRefusal(failure);
    failures.push(failure);
    if (failure.status || failure.isUnreachable) break; // the other player would fail in the same way
  }
  showLastFailure(failures);
};

// Shows the cause of the last failure, and a note with the texts of all failures.
const showLastFailure = (failures) => {
  const last = failures.at(-1);
  const note = failures.map((failure) => failure.text).filter(Boolean).join(" · ");
  if (!last) {
    showMessage("This browser cannot play HLS. Use another browser.");
  } else if (last.problem?.reason) {
    const { detail, reason, request_id } = last.problem;
    const canRetry = last.status >= 500 || RETRYABLE_REASONS.includes(reason);
    showMessage(detail ?? "The server refused this video.", { note: `${reason} · request ${request_id} · ${note}`, canRetry });
  } else if (last.status) {
    const isLock = last.status === 403 && last.host !== location.host;
    showMessage(`${last.host} refused the stream: HTTP ${last.status}.`, {
      note: `${note}${isLock ? ". A stream URL works from one address only: this browser may use different addresses for the page and for the stream." : ""}`,
      canRetry: true,
    });
  } else if (last.isUnreachable) {
    showMessage("The server cannot be reached.", { note, canRetry: true });
  } else {
    showMessage("This browser could not play the stream.", { note, canRetry: true });
  }
};

// Covers the video with a message, and a retry button if `canRetry`.
const showMessage = (text, { note = "", canRetry = false } = {}) => {
  message.replaceChildren(text);
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

// Shows the title, the poster and the live badge. The video plays even if this fails.
const showDetails = async () => {
  const response = await fetch(`/watch/${encodeURIComponent(id)}/details`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!response.ok) return;
  const { title, poster, live } = await response.json();
  if (title) {
    document.title = title;
    document.getElementById("title").textContent = title;
  }
  if (poster && message.hidden) video.poster = poster;
  document.getElementById("live").hidden = !live;
};

addEventListener("hashchange", () => location.reload());
play();
if (token) showDetails().catch(() => {});

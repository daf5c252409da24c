// Reads playlists as hls.js, m3u8-parser (video.js) and Shaka Player do.
//
// Standard input: a JSON array of {text, url}. Standard output: a JSON array with the URLs, by parser,
// that a player would request. Argument: the folder with the npm packages.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const modules = process.argv[2];
const require = createRequire(join(modules, "x.js"));
globalThis.self = globalThis;
globalThis.navigator ??= { userAgent: "" };

function readWithHlsJs(parser, text, url) {
  if (!parser.isMediaPlaylist(text)) {
    const parsed = parser.parseMasterPlaylist(text, url);
    const media = Object.values(parser.parseMasterPlaylistMedia(text, url, parsed)).flat();
    return [
      ...parsed.levels.map((level) => level.url),
      ...parsed.iframeVariants.map((level) => level.url),
      ...media.map((track) => track.url),
      ...(parsed.sessionKeys ?? []).map((key) => key.uri),
      ...Object.values(parsed.sessionData ?? {}).map((data) => data.URI),
      parsed.contentSteering?.uri,
    ];
  }
  const level = parser.parseLevelPlaylist(text, url, 0, "main", 0, null);
  const fragments = level.fragments.filter(Boolean);
  const ranges = Object.values(level.dateRanges);
  return [
    ...fragments.map((fragment) => (fragment.gap ? "" : fragment.url)),
    ...fragments.map((fragment) => fragment.initSegment?.url),
    ...fragments.flatMap((fragment) => Object.values(fragment.levelkeys ?? {}).map((key) => key.uri)),
    ...(level.partList ?? []).map((part) => (part.gap ? "" : part.url)),
    level.preloadHint?.URI,
    ...(level.renditionReports ?? []).map((report) => report.URI),
    ...ranges.flatMap((range) => [range.attr["X-ASSET-URI"], range.attr["X-ASSET-LIST"], range.attr["X-URI"]]),
  ];
}

function readWithM3u8Parser({ Parser }, text) {
  const parser = new Parser();
  parser.push(text);
  parser.end();
  // Every member of the result that is named like a URI, wherever it is.
  const urls = [];
  const visit = (value, name) => {
    if (typeof value === "string") {
      if (/uri$|list$/i.test(name)) urls.push(value);
    } else if (value && typeof value === "object") {
      if (value.gap || value.attributes?.GAP) return;
      for (const [key, child] of Object.entries(value)) visit(child, key);
    }
  };
  visit(parser.manifest, "");
  return urls;
}

function loadShaka() {
  const goog = { require() {}, requireType() {}, asserts: { assert() {} } };
  const context = vm.createContext({ goog, TextDecoder, console, URL });
  goog.provide = (name) => {
    let at = context;
    for (const part of name.split(".")) at = at[part] ??= {};
  };
  for (const name of ["shaka.log", "shaka.util.BufferUtils", "shaka.util.URL"]) goog.provide(name);
  const silent = () => {};
  Object.assign(context.shaka.log, { debug: silent, v1: silent, v2: silent, warning: silent, info: silent, alwaysWarn: silent });
  const files = ["util/error", "hls/hls_classes", "hls/hls_utils", "hls/manifest_text_parser"];
  for (const file of files) {
    const path = join(modules, "shaka-player/lib", `${file}.js`);
    vm.runInContext(readFileSync(path, "utf8"), context, { filename: path });
  }
  goog.provide("shaka.util.StringUtils");
  context.shaka.util.StringUtils.fromUTF8 = (bytes) => new TextDecoder().decode(bytes);
  return context.shaka.hls.ManifestTextParser;
}

const SHAKA_URIS = new Set(["URI", "SERVER-URI", "X-ASSET-URI", "X-ASSET-LIST", "X-URI"]);

function readWithShaka(Parser, text) {
  const playlist = new Parser().parsePlaylist(new TextEncoder().encode(text));
  const segments = playlist.segments ?? [];
  const isGap = (segment) => segment.tags.some((tag) => tag.name === "EXT-X-GAP");
  const tags = [...playlist.tags, ...segments.flatMap((segment) => [...segment.tags, ...segment.partialSegments])];
  return [
    ...segments.map((segment) => (isGap(segment) ? "" : segment.verbatimSegmentUri)),
    ...tags
      .filter((tag) => !tag.attributes.some((attribute) => attribute.name === "GAP"))
      .flatMap((tag) => tag.attributes.filter((attribute) => SHAKA_URIS.has(attribute.name)))
      .map((attribute) => attribute.value),
  ];
}

const { M3U8Parser: hlsJs } = await import(pathToFileURL(join(modules, "hls.js/dist/hls.mjs")));
const m3u8Parser = require("m3u8-parser");
const shaka = loadShaka();
const readers = {
  "hls.js": (text, url) => readWithHlsJs(hlsJs, text, url),
  "m3u8-parser": (text) => readWithM3u8Parser(m3u8Parser, text),
  Shaka: (text) => readWithShaka(shaka, text),
};

function read({ text, url }) {
  const found = {};
  for (const [name, reader] of Object.entries(readers)) {
    try {
      const urls = reader(text, url).filter(Boolean);
      found[name] = [...new Set(urls)].map((reference) => new URL(reference, url).href);
    } catch (error) {
      found[name] = [];
      found[`${name} failed`] = [String(error?.message ?? error)];
    }
  }
  return found;
}

const playlists = JSON.parse(readFileSync(0, "utf8"));
console.log = console.warn = console.error = () => {};
process.stdout.write(JSON.stringify(playlists.map(read)));

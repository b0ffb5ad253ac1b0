/** HLS player; a bundle of its own, loaded with the first video. */
import Hls from "hls.js/light";

/** Play an address from a position in seconds; the returned function stops it. `failed` is called once, at a fatal error. */
export function play(video: HTMLVideoElement, address: string, at: number, failed: () => void): () => void {
  // hls.js behaves alike in all browsers; those that cannot run it play HLS themselves.
  if (!Hls.isSupported()) {
    const begun = new AbortController();
    video.addEventListener("loadedmetadata", () => (video.currentTime = at), { signal: begun.signal });
    video.addEventListener("error", () => (begun.abort(), failed()), { signal: begun.signal });
    video.src = address;
    return () => {
      begun.abort();
      video.removeAttribute("src");
      video.load();
    };
  }
  // A worker is a script at a blob: address, which the page's Content-Security-Policy refuses.
  const hls = new Hls({ enableWorker: false, startPosition: at || -1, capLevelToPlayerSize: true });
  let hasRecovered = false;
  hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && !hasRecovered) {
      hasRecovered = true;
      hls.recoverMediaError();
      return;
    }
    hls.destroy();
    failed();
  });
  hls.loadSource(address);
  hls.attachMedia(video);
  return () => hls.destroy();
}

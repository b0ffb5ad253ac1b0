/** Plays HLS; a bundle of its own, loaded with the first video. */
import Hls from "hls.js/light";

/** Play an address from a second on; call what is returned to stop. `failed` is called once, and it plays no more. */
export function play(video: HTMLVideoElement, address: string, at: number, failed: () => void): () => void {
  // Browsers that play HLS by themselves do so less alike than this library; those that cannot run it, do well.
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
  // A worker would be a script of an address of its own making, which the page's policy refuses.
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

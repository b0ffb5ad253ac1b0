// The light build, without captions and protected media, has no types of its own.
declare module "hls.js/light" {
  export { default } from "hls.js";
}

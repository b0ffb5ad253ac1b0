/** Loudness of an audio stream: a WebAudio analyser, read at each frame. */

let context: AudioContext | undefined;

/** Show the loudness of a stream in a `meter`; the returned function stops it. */
export function follow(voice: MediaStream, meter: HTMLMeterElement): () => void {
  context ??= new AudioContext();
  // After a reload the browser may require a tap first.
  void context.resume().catch(() => undefined);
  const source = context.createMediaStreamSource(voice);
  const analyser = context.createAnalyser();
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const draw = () => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);
    // A square root is closer to perceived loudness.
    meter.value = Math.min(1, Math.sqrt(loudness) * 1.6);
    frame = requestAnimationFrame(draw);
  };
  draw();
  return () => {
    cancelAnimationFrame(frame);
    source.disconnect();
    meter.value = 0;
  };
}

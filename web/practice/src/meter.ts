/** Shows how loud a voice is: an analyser of WebAudio, read at each frame. */

let context: AudioContext | undefined;

/** Let a `meter` follow a voice; call what is returned to stop. */
export function follow(voice: MediaStream, meter: HTMLMeterElement): () => void {
  context ??= new AudioContext();
  // Begun without a tap, after a reload, it may have to wait for one.
  void context.resume().catch(() => undefined);
  const source = context.createMediaStreamSource(voice);
  const analyser = context.createAnalyser();
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const draw = () => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);
    // Speech is quiet in numbers: a root is closer to what is heard.
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

/** Questions to begin a conversation with. */

const QUESTIONS = [
  "What did you do last weekend, and what would you rather have done?",
  "Which place would you like to show your partner, and why?",
  "What is something you have learnt lately?",
  "What do people at home eat that your partner should try?",
  "Which film or book did you like so much that you recommended it to everybody?",
];

/** Choose a question; the same for both learners, because it depends on the room. */
export function question(roomId: string): string {
  return QUESTIONS[Number.parseInt(roomId.slice(0, 8), 16) % QUESTIONS.length] ?? "";
}

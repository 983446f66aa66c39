/** Everything that a user interface imports. */
export type * from "./api.ts";
export { makeRoomLink, newRoomName, newRoomSecret, parseRoomLink, parseRoomName } from "./link.ts";
export { maxChatLength } from "./chat.ts";
export { roomSuites, standardSuite } from "./suites.ts";
export { missingFeatures } from "./features.ts";
export { createPreview } from "./preview.ts";
export { createMeeting } from "./meeting.ts";

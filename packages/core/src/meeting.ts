import type { Meeting, MeetingOptions } from "./api.ts";

export function createMeeting(_options: MeetingOptions): Meeting {
  throw new Error("being written");
}

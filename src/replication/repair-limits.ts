export const repairLimits = {
  /** Blocks looked at in one step of a survey, and asked of each peer at once. */
  page: 500,
  /** Blocks worked on side by side: as many are in memory. */
  atOnce: 4,
  /** Somebody who is gone for less is not missed. */
  suspicionMs: 10_000,
  /** Where all are there nobody is missed: others may follow who has just come, or another layout this one. */
  arrivalMs: 2000,
  /** Since a sweep began or ended, until the next begins, unless a person asks or the last one has bettered something: four times what it took, within these. */
  leastRestMs: 5000,
  mostLeastRestMs: 30_000,
  /** A sweep without any reason; of very many blocks later, in units of what the last one took: here and at those who answer it may take a millisecond for five blocks. */
  everyMs: 600_000,
  everyShare: 19,
  /** What could not be brought, for a disk is full or a peer did not take it, is tried again. */
  retryMs: 60_000,
  /** With so many short blocks at the most, or where they have not become fewer since the retry before, a retry brings also those whose turn is another's, who may have looked before they were short. */
  fewShort: 64,
  askMs: 10_000,
  bringMs: 120_000,
  /** A peer that did not answer in time is not asked again for so long: others must not wait for it with each few blocks. */
  silentMs: 10_000,
  /** Blocks that were reported one by one; with more a sweep finds them. */
  maxReported: 10_000,
  /** Of one block, that are told as at risk by their ids. */
  versionsOfBlock: 1000,
} as const

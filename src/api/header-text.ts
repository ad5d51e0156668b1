/** Text as the value of a header, in UTF-8. What another door has stored may hold what no header can: Node would throw, and the object could not be had at all. */
// eslint-disable-next-line no-control-regex
export const headerText = (text: string): string => Buffer.from(text, 'utf8').toString('latin1').replaceAll(/[\u0000-\u0008\u000a-\u001f\u007f]/g, ' ')

/** How many random cases a property of many cases is tried with: `usual`, and a tenth of them in npm run test:quick. */
export function cases(usual: number): number {
  return process.env["QUICK"] ? Math.ceil(usual / 10) : usual;
}

/** For npm run test:quick: a property is tried with a tenth of the usual cases, unless its test says how many. */
import fc from "fast-check";

fc.configureGlobal({ numRuns: 10 });

/** The editions of noble that can drive the adapter, in the order in which they are tried. Nothing is loaded here. */
export const drivers = ["@abandonware/noble", "@stoprocent/noble"] as const;
export type Driver = (typeof drivers)[number];
export type DriverChoice = "auto" | Driver;

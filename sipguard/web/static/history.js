// The bans of a period, those that are over among them.

import { banlist } from "./banlist.js";

banlist({ past: true });

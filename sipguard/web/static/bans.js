// The bans of now.

import { banlist } from "./banlist.js";

banlist({ past: false });

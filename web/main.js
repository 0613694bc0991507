// The page as the gateway serves it: the host is where the page came from.

import { webSocketPort } from "./client.js";
import { startPage } from "./page/page.js";

const address = new URL("ws", document.baseURI);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
startPage(webSocketPort(address));

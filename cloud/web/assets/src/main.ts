// The dashboard's only script: live values, refreshed parts, charts.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { addToCharts, loadAll, mount, start, unmount } from "./charts";
import { listen } from "./live";
import { keepFresh, refreshSoon } from "./parts";
import { growAges, showReadings } from "./readings";
import { clock, hostNow } from "./words";

start();
mount();
keepFresh(unmount, mount);

listen({
  changed(changes) {
    addToCharts(changes);
    if (showReadings(changes)) refreshSoon();
  },
  restored() {
    refreshSoon();
    void loadAll();
  },
});

window.setInterval(() => {
  const time = document.getElementById("clock");
  if (time !== null) time.textContent = clock(hostNow());
  growAges();
}, 1000);

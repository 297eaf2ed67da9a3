// The page of single results.
const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("[data-result]").forEach((pane) => {
  const cell = data.results[Number(pane.dataset.result)];
  pane.replaceChildren(promptView(cell, new Set(), ""), el("div", {class: "quad"}, orderView(cell), ...fidelityView(cell)));
});

// Applies the colours that the reader has chosen before, if any.
//
// A plain script in the head, because a module runs after the first paint, and the page would flash from light to dark.
try {
  const theme = localStorage.getItem('reprise-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // If storage is forbidden, the system's colours apply.
}

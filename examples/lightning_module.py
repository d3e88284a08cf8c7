"""Find the points that were labelled wrongly while a Lightning module is trained on them."""

import torch
from lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw

torch.manual_seed(0)
points = torch.randn(400, 8)
labels = (points[:, 0] > 0).long()
given = torch.where(torch.arange(400) % 3 == 0, 1 - labels, labels)  # each third label is wrong
rows = DataLoader(TensorDataset(points[:320], given[:320]), batch_size=32, shuffle=True)


class Classifier(mw.lightning.Weighted):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
model = Classifier(net, trusted=TensorDataset(points[320:], labels[320:]))
trainer = Trainer(max_epochs=6, accelerator="cpu", default_root_dir="runs/lightning", logger=False)
trainer.fit(model, mw.data.numbered(rows))  # leaves report.html, the page, in runs/lightning
print(f"{sum(model.suspects()['index'][:50] % 3 == 0)} of the first 50 suspects are wrong")

"""Find the points that were labelled wrongly while a plain torch loop trains on them."""

import torch
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw

torch.manual_seed(0)
points = torch.randn(400, 8)
labels = (points[:, 0] > 0).long()
given = torch.where(torch.arange(400) % 3 == 0, 1 - labels, labels)  # each third label is wrong
train_loader = DataLoader(TensorDataset(points[:320], given[:320]), batch_size=32, shuffle=True)
trusted_loader = DataLoader(TensorDataset(points[320:], labels[320:]), batch_size=32)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

loop = mw.Loop(net, optimizer, train_loader, trusted_loader, folder="runs/own_loop")
for _ in range(6):
    for x, y, weights in loop:
        losses = torch.nn.functional.cross_entropy(net(x), y, reduction="none")
        optimizer.zero_grad()
        (weights * losses).mean().backward()
        optimizer.step()
print(f"{sum(loop.suspects()['index'][:50] % 3 == 0)} of the first 50 suspects are wrong")
print(f"the page: {loop.report('page.html')}")

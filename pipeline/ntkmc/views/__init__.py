"""What people look at: tables and figures out of a results tree, with no numbers of their own."""
